"""From a folder of DICOM to a store of volumes that the image input reads, and an inventory of all that lay there."""
