package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os/user"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/console"
	"switchboard/internal/delivery"
	"switchboard/internal/ledger"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// api is what the command line speaks to, over the socket or with the token.
func (a *App) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/ready", a.readyz)
	mux.HandleFunc("GET /api/v1/explain/{id}", call(func(ctx context.Context, r *http.Request) (ledger.Story, error) {
		return a.ledger.Story(ctx, r.PathValue("id"))
	}))
	mux.HandleFunc("GET /api/v1/audit", call(func(ctx context.Context, _ *http.Request) (Books, error) { return a.Audit(ctx) }))
	mux.HandleFunc("GET /api/v1/dead", call(func(ctx context.Context, r *http.Request) ([]ledger.DeadRow, error) {
		rows, err := a.ledger.Dead(ctx, r.URL.Query().Get("state"))
		if rows == nil {
			rows = []ledger.DeadRow{}
		}
		return rows, err
	}))
	mux.HandleFunc("GET /api/v1/dead/{id}", call(func(ctx context.Context, r *http.Request) (record.Letter, error) {
		return a.delivery.Letter(ctx, r.PathValue("id"))
	}))
	mux.HandleFunc("POST /api/v1/dead/{id}/retry", call(func(ctx context.Context, r *http.Request) (Done, error) {
		_, err := (*actions)(a).Retry(ctx, actor(r), r.PathValue("id"))
		return Done{Done: "it is on its way again"}, err
	}))
	mux.HandleFunc("POST /api/v1/dead/{id}/dismiss", call(func(ctx context.Context, r *http.Request) (Done, error) {
		_, err := (*actions)(a).Dismiss(ctx, actor(r), r.PathValue("id"), r.URL.Query().Get("reason"))
		return Done{Done: "closed"}, err
	}))
	mux.HandleFunc("POST /api/v1/forget/{conversation}", call(func(ctx context.Context, r *http.Request) (Forgetting, error) {
		return a.Forget(ctx, actor(r), r.PathValue("conversation"))
	}))
	mux.HandleFunc("POST /api/v1/passwd/{user}", call(func(ctx context.Context, r *http.Request) (Done, error) {
		var in struct {
			Role     console.Role `json:"role"`
			Password string       `json:"password"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 4096)).Decode(&in); err != nil {
			return Done{}, err
		}
		return Done{Done: "password set"}, a.console.SetPassword(ctx, r.PathValue("user"), in.Role, in.Password)
	}))
	return mux
}

// Done says in words what was done.
type Done struct {
	Done string `json:"done"`
}

// actor is who speaks: whoever can reach the socket or knows the token is an
// administrator of this machine.
func actor(*http.Request) schemas.Actor {
	name := "admin"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return schemas.Actor{Name: name, Role: "admin", Source: "cli"}
}

// callMost bounds one call of the interface; an audit of millions takes a while.
const callMost = 10 * time.Minute

// call makes a handler of a function.
func call[T any](f func(context.Context, *http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callMost)
		defer cancel()
		v, err := f(ctx, r)
		switch {
		case err == nil:
			answer(w, http.StatusOK, v)
		case errors.Is(err, ledger.ErrNotFound), errors.Is(err, console.ErrNotFound), errors.Is(err, delivery.ErrNoLetter), errors.Is(err, bus.ErrNotFound):
			problem(w, http.StatusNotFound, err.Error())
		default:
			problem(w, http.StatusInternalServerError, err.Error())
		}
	}
}
