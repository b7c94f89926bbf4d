"""Points, hands and skeletons in space from what calibrated cameras see."""
