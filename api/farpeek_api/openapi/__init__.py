"""The OpenAPI document, made of the operations and the models, and a page that shows it."""
