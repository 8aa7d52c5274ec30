"""The issuer: users, their roles, and the tokens that the gateway takes."""
