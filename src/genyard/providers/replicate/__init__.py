"""Models on replicate.com: one prediction per step, by model, version or deployment.

`compile` makes the flat input, `wire` talks HTTP, `outcome` says what the answers mean, `signature` checks webhooks,
`provider` is the contract. Which models there are is data: `catalog/data/bindings/replicate`.
"""

from genyard.providers.replicate.provider import ReplicateProvider

__all__ = ["ReplicateProvider"]
