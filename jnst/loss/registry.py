"""The terms of the loss that every run has. A new one is a file of its own and an entry here."""

from jnst.loss.content import CONTENT
from jnst.loss.style import STYLE
from jnst.loss.variation import VARIATION

TERMS = (CONTENT, STYLE, VARIATION)
