package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) passwd() *cobra.Command {
	var role string
	cmd := c.shared(&cobra.Command{
		Use: "passwd USER", Short: "Set a console user's password, read from standard input; a new user is made",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fmt.Fprint(c.err, "new password: ")
			line, err := bufio.NewReader(os.Stdin).ReadString('\n')
			password := strings.TrimRight(line, "\r\n")
			if password == "" {
				return usage{errors.Join(errors.New("no password was given on standard input"), err)}
			}
			return c.request(cmd.Context(), "passwd/"+url.PathEscape(args[0]), struct {
				Role     string `json:"role"`
				Password string `json:"password"`
			}{role, password})
		},
	})
	cmd.Flags().StringVar(&role, "role", "admin", "viewer, agent or admin")
	return cmd
}
