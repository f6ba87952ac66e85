"""The checker of annotations that conftest installs: beartype, where a whole number is good enough for a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
