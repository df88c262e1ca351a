"""Estimators of every kind of drift and of diffusion, each for what all of them promise."""

from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Polynomial, Training

SHORT = Training(max_epochs=3)
SDES = {
    "mlp": PatchSDERegressor(drift_model=MLP(hidden=(8,), training=SHORT), random_state=0),
    "mlp-diagonal": PatchSDERegressor(
        drift_model=MLP(hidden=(8,), training=SHORT),
        diffusion_model="diagonal",
        random_state=0,
    ),
    "linear": PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    "linear-full": PatchSDERegressor(drift_model="linear"),
    "polynomial": PatchSDERegressor(drift_model=Polynomial(degree=3)),
    "polynomial-diagonal": PatchSDERegressor(drift_model="polynomial", diffusion_model="diagonal"),
    "gp": PatchSDERegressor(drift_model="gp"),
    "gp-diagonal": PatchSDERegressor(drift_model="gp", diffusion_model="diagonal"),
    "onsager": OnsagerSDE(training=SHORT, hidden=(8,), random_state=0),
    "onsager-free": OnsagerSDE(training=SHORT, hidden=(8, 8), forcing=False, random_state=0),
}
