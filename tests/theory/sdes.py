"""Estimators of every kind of drift and of diffusion, each for what all of them promise."""

from sklmacro import OnsagerSDE, PatchSDERegressor

SDES = {
    "mlp": PatchSDERegressor(max_epochs=3, hidden=(8,), random_state=0),
    "mlp-diagonal": PatchSDERegressor(
        max_epochs=3, hidden=(8,), diffusion_model="diagonal", random_state=0
    ),
    "linear": PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    "linear-full": PatchSDERegressor(drift_model="linear"),
    "polynomial": PatchSDERegressor(drift_model="polynomial", degree=3),
    "polynomial-diagonal": PatchSDERegressor(drift_model="polynomial", diffusion_model="diagonal"),
    "onsager": OnsagerSDE(max_epochs=3, hidden=(8,), random_state=0),
    "onsager-free": OnsagerSDE(max_epochs=3, hidden=(8, 8), forcing=False, random_state=0),
}
