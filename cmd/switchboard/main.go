// Command switchboard stands between customers' channels and support desks.
package main

import (
	"os"

	"switchboard/channels/all"
	"switchboard/cmd"
	desks "switchboard/sinks/all"
)

func main() {
	os.Exit(cmd.Main(cmd.Kinds{Channels: all.Kinds(), Sinks: desks.Kinds()}))
}
