"""Going on from a state under other weights or other style targets."""

import jax
import jax.numpy as jnp

from jnst.transfer.state import TransferState


def restart(state: TransferState) -> TransferState:
    """The state with its picture kept and all that belongs to the former loss forgotten.

    Value, gradient and the best picture were measured under the former weights, and curvature pairs are differences of
    the former gradient. At step zero the loop evaluates without moving, and empties the history of L-BFGS; moments of
    Adam fade by themselves and stay.

    >>> import jnst, numpy as np
    >>> from jnst.config import Config
    >>> restart(jnst.init_state(np.zeros((16, 16, 3), np.float32), Config())).step.item()
    0
    """
    evaluation = state.evaluation._replace(
        value=jnp.full_like(state.evaluation.value, jnp.inf),
        terms=jax.tree.map(lambda term: jnp.full_like(term, jnp.inf), state.evaluation.terms),
        gradient=jnp.zeros_like(state.evaluation.gradient),
    )
    return state._replace(
        evaluation=evaluation,
        loss_scale=jnp.ones_like(state.loss_scale),
        step_scale=jnp.ones_like(state.step_scale),
        rejected=jnp.zeros_like(state.rejected),
        step=jnp.zeros_like(state.step),
        # Copies: a state that is advanced in place may hold no array twice.
        best_point=jnp.array(state.point),
        best_value=jnp.full_like(state.best_value, jnp.inf),
        best_step=jnp.zeros_like(state.best_step),
    )
