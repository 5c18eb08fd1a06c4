package console

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"switchboard/internal/ledger"
)

// healthView is channels, desks and the program itself: will anything stop, and
// who has to act?
type healthView struct {
	shell
	Channels, Sinks []instanceView
	Trouble         []ledger.HealthRow
	System          System
	At              time.Time
}

// instanceView is one channel or sink with what is configured of it.
type instanceView struct {
	ledger.HealthRow
	Is   Instance
	Icon string
}

const (
	sideChannel = "channel"
	stateOK     = "ok"
)

// troubled returns the channels and sinks that need a look, the worst first.
func troubled(rows []ledger.HealthRow) []ledger.HealthRow {
	var out []ledger.HealthRow
	for _, r := range rows {
		if r.State != stateOK && r.State != "" {
			out = append(out, r)
		}
	}
	rank := map[string]int{"down": 0, "paused": 1, "degraded": 2}
	slices.SortStableFunc(out, func(a, b ledger.HealthRow) int { return cmp.Compare(rank[a.State], rank[b.State]) })
	return out
}

func (c *Console) health(w http.ResponseWriter, r *http.Request, v *visitor) error {
	now := c.opts.Now()
	rows, err := c.opts.Ledger.Health(r.Context(), now)
	if err != nil {
		return fmt.Errorf("read health: %w", err)
	}
	s, err := c.shell(r, v, "health", "Health")
	if err != nil {
		return err
	}
	view := &healthView{shell: s, Trouble: troubled(rows), System: c.opts.Actions.Status(r.Context()), At: now}
	for _, row := range rows {
		in := instanceView{HealthRow: row, Icon: "desk"}
		if row.Side == sideChannel {
			in.Icon, in.Is = c.kindIcon(row.Name), c.instance(c.opts.Channels, row.Name)
			view.Channels = append(view.Channels, in)
		} else {
			in.Is = c.instance(c.opts.Sinks, row.Name)
			view.Sinks = append(view.Sinks, in)
		}
	}
	return c.render(w, http.StatusOK, "health", view)
}
