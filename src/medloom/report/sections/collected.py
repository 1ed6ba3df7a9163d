"""The sections of all parts of the evaluation, in their order: one line each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medloom.evaluation.sample_size import sample_sizes
from medloom.report.content import Content
from medloom.report.sections import (
    course,
    explanation,
    learning_curve,
    maps,
    sample_size,
    standards,
    subgroups,
    weak_groups,
)
from medloom.report.standards.computed import computed
from medloom.report.standards.known import Known

if TYPE_CHECKING:
    from medloom.report.story import Story


def collected(story: Story, content: Content) -> Content:
    """The content with all its sections. The lists of standards come last: they lead to the others."""
    sizes, options = sample_sizes(story.prepared), story.prepared.study.evaluate
    found = (
        course.section(story),
        course.timelines(story),
        sample_size.section(sizes, options.expected_r_squared),
        learning_curve.section(story.curve, content.answers, story.unit),
        subgroups.section(story),
        weak_groups.section(story),
        explanation.section(story),
        maps.section(story),
        maps.cases(story),
    )
    told = replace(content, sections=(*content.sections, *(one for one in found if one is not None)))
    said = computed(Known.of(story, told, sizes))
    return replace(
        told, sections=(*told.sections, *standards.sections(said, story.texts)), said=said, texts=story.texts
    )
