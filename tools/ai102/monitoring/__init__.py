"""What Prometheus and Alertmanager are given: constants from the contract, and checks of all rules and routes."""
