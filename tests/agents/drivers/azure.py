"""Azure Pipelines agent. Its binaries are .NET and in no registry: simulated."""

from drivers.dotnet import DotnetDriver


class Azure(DotnetDriver):
    """On a machine that speaks German: the preset must see to it that the agent does not."""

    name = "azure 4.278"
    preset = "azure"
    simulator = "azure"
    programs = ("Agent.Listener", "Agent.Worker")
    drains = "single-job"

    def env(self):
        return {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"}
