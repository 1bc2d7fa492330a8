"""aimem-deploy(7), run as it stands."""
