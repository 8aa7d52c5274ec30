"""The issuer: users, their roles, and the tokens the door takes."""
