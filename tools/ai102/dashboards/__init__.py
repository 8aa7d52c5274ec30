"""Grafana's dashboards, built from functions and committed as JSON; their queries; pictures of their panels."""
