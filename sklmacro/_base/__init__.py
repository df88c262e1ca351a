"""What every package needs: checks, random streams, workers, and what estimators inherit.

Enters: whatever a user passes. Leaves: checked values, or an error that says what was expected,
what came and the remedy; results in an order that does not depend on the workers.
"""
