"""Gives Python 3.12 and later two names of configparser back, for the time of building pyradiomics 3.0.1's wheel.

The versioneer that pyradiomics bundles calls them in its setup.py to read setup.cfg; Python 3.12 dropped both in favour
of the names that stand for them here. Nothing that computes a feature is touched. Put this folder on PYTHONPATH while
pip builds, never later.
"""

import configparser

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser  # type: ignore[attr-defined]
    configparser.RawConfigParser.readfp = configparser.RawConfigParser.read_file  # type: ignore[attr-defined]
