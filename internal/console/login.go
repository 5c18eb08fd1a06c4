package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// loginView is the page where people sign in.
type loginView struct {
	shell
	Shop, User, Next string
	Problem          string
}

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	next := localPath(r.FormValue("next"))
	if _, err := c.visitor(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return c.render(w, http.StatusOK, "login", &loginView{shell: bare("Sign in"), Shop: c.opts.Name, Next: next})
}

func (c *Console) login(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	v := &loginView{shell: bare("Sign in"), Shop: c.opts.Name, User: fold(r.PostFormValue("user")), Next: localPath(r.PostFormValue("next"))}
	known := v.User
	if !userName.MatchString(known) {
		known = "" // no such user can be; its tries count together
	}
	address := c.opts.Address(r)
	left, wait := c.limit.take(known, address)
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		v.Problem = fmt.Sprintf("Too many tries. Wait %s, then try again.", took(wait.Round(time.Second)))
		return c.render(w, http.StatusTooManyRequests, "login", v)
	}
	u, ok, err := c.check(r.Context(), known, r.PostFormValue("password"))
	if err != nil {
		return err
	}
	if !ok {
		v.Problem = "That name and password do not go together. " + count(left, "try", "tries") + " left, then a pause of a minute."
		return c.render(w, http.StatusUnauthorized, "login", v)
	}
	c.limit.forgive(known, address)
	if err := c.sweep(r.Context()); err != nil {
		c.opts.Log.Warn("old sessions not removed", "err", err)
	}
	if err := c.begin(w, r, u); err != nil {
		return err
	}
	http.Redirect(w, r, v.Next, http.StatusSeeOther)
	return nil
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	if err := c.end(w, r); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// localPath returns next if it is a path of ours, else the first page: a link
// must not lead from the sign-in to another site.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.HasPrefix(next, "/login") ||
		strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
