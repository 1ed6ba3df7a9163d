"""scikit-learn estimators, for people in notebooks: a classifier, a regressor and a survival model of one table.

Each makes a study of what it is given and hands it to `medloom.fit`; what it fitted is an ordinary bundle.
"""

from __future__ import annotations

from medloom.estimators.classify import MedloomClassifier
from medloom.estimators.regress import MedloomRegressor
from medloom.estimators.survive import MedloomSurvival

__all__ = ["MedloomClassifier", "MedloomRegressor", "MedloomSurvival"]
