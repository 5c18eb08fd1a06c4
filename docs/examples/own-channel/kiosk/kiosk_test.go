package kiosk_test

import (
	"testing"

	"switchboard/adapter/secret"
	"switchboard/channels/channeltest"

	"kiosk.example/switchboard/kiosk"
)

func Test(t *testing.T) {
	t.Parallel()
	channeltest.Run(t, kiosk.Kind, kiosk.Config{Terminal: "3", Secret: secret.Literal("counter-secret")})
}
