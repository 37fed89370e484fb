"""The caller's own ComfyUI workflow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from genyard.operations._model import Operation, Parameters


class RunWorkflowParameters(Parameters):
    """`NODE.INPUT` names one input of one node, for example `3.seed`."""

    workflow: Annotated[
        dict[str, Any],
        Field(description="A graph in API format (in ComfyUI: Workflow → Export (API))."),
    ]
    values: Annotated[dict[str, Any], Field(description="Values to put into the graph, by NODE.INPUT.")] = {}  # noqa: RUF012 (pydantic copies defaults)
    media: Annotated[
        dict[str, str],
        Field(description="Where each named input goes: input name → NODE.INPUT of a loader node."),
    ] = {}  # noqa: RUF012

    @field_validator("workflow")
    @classmethod
    def _is_api_format(cls, workflow: dict[str, Any]) -> dict[str, Any]:
        if isinstance(workflow.get("nodes"), list):
            raise ValueError(
                "this is a workflow in ComfyUI's UI format; export it with Workflow → Export (API) and send that"
            )
        if not workflow:
            raise ValueError("the workflow is empty")
        for node_id, node in workflow.items():
            if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
                raise ValueError(f"node {node_id!r} has no class_type: not a workflow in API format")
            if not isinstance(node.get("inputs", {}), dict):
                raise ValueError(f"node {node_id!r}: inputs must be an object")
        return workflow


RUN_WORKFLOW = Operation(
    name="run_workflow",
    summary="Run your own ComfyUI workflow (API format) with named inputs.",
    parameters=RunWorkflowParameters,
    output=None,
    free_inputs=True,
)
