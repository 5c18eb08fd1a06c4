package zendesk

import (
	"testing"

	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
	"switchboard/sinks"
	"switchboard/sinks/sinktest"
)

// What a sink with a webhook secret can do.
var _ interface {
	sinks.Sink
	sinks.Finder
	sinks.Threader
	sinks.Attacher
	sinks.Updater
	sinks.Cataloguer
	hook.Webhook
	sinks.Source
} = listener{}

func TestConformsWithOAuth(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, Kind, Config{
		Subdomain: "aeroshop", ClientID: "switchboard", ClientSecret: secret.Literal("oauth-secret-of-a-test"),
		Scopes: []string{"read", "write"}, WebhookSecret: secret.Literal("webhook-secret-of-a-test"),
	})
}

func TestConformsWithAPIToken(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, Kind, Config{
		Subdomain: "aeroshop", Email: "bot@aeroshop.example", APIToken: secret.Literal("api-token-of-a-test"),
	})
}
