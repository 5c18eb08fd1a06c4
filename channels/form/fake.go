package form

import (
	"encoding/json"
	"net/http"
	"strings"

	"switchboard/adapter/hook"
	"switchboard/channels"
)

// sample is a post of another site's form, as JSON. It is not accepted where the
// proof of work is required, for only the page can ask for one.
func sample(cfg Config, from channels.Sample) hook.Delivery {
	in := map[string]string{"submission_id": from.ID}
	set := func(name, value string) { in[cfg.Fields.Of(name)[0]] = value }
	set("name", from.Name)
	set("subject", from.Subject)
	set("message", from.Text)
	if set("email", from.From); !strings.Contains(from.From, "@") {
		set("phone", from.From)
		set("email", "caller"+strings.TrimLeft(from.From, "+")+"@phone.example")
	}
	body, _ := json.Marshal(in) // strings always encode
	return hook.Delivery{
		Method: http.MethodPost, Body: body, Via: hook.ViaWebhook, ReceivedAt: from.At,
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
	}
}
