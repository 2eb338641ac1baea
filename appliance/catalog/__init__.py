"""The models that the appliance knows, as data."""
