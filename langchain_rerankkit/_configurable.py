"""Runnables with fields that a call's configuration may set."""

from __future__ import annotations

from typing import TypeAlias

from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig
from langchain_core.runnables.configurable import RunnableConfigurableFields
from langchain_core.runnables.utils import ConfigurableFieldMultiOption, ConfigurableFieldSingleOption, Input, Output
from typing_extensions import override

AnyConfigurableField: TypeAlias = ConfigurableField | ConfigurableFieldSingleOption | ConfigurableFieldMultiOption


class Configurable(RunnableConfigurableFields[Input, Output]):
    """LangChain's own, which makes another object for each call; here that has the connections of the first."""

    @classmethod
    @override
    def lc_id(cls) -> list[str]:
        """It is written down, and loaded again, as LangChain's own."""
        return RunnableConfigurableFields.lc_id()

    @override
    def _prepare(self, config: RunnableConfig | None = None) -> tuple[Runnable[Input, Output], RunnableConfig]:
        prepared, config = super()._prepare(config)
        if prepared is not self.default:
            prepared.share_connections(self.default)  # type: ignore[attr-defined]
        return prepared, config
