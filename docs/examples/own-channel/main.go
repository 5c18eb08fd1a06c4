// Command switchboard is a build of one shop's own: everything that the project
// ships, and the terminal beside the counter.
package main

import (
	"os"

	channelkinds "switchboard/channels/all"
	"switchboard/cmd"
	sinkkinds "switchboard/sinks/all"

	"kiosk.example/switchboard/kiosk"
)

func main() {
	os.Exit(cmd.Main(cmd.Kinds{
		Channels: append(channelkinds.Kinds(), kiosk.Kind),
		Sinks:    sinkkinds.Kinds(),
	}))
}
