package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"switchboard/adapter/secret"
	"switchboard/internal/config"
)

// defaultFile is read when it is there and no other is named.
const defaultFile = "switchboard.yaml"

func (c *cli) options() config.Options {
	return config.Options{ChannelKinds: c.kinds.Channels, SinkKinds: c.kinds.Sinks, Getenv: c.getenv}
}

// load reads the configuration that the flags name, or the one without a file.
func (c *cli) load() (*config.Config, error) {
	path := c.config
	if path == "" {
		if _, err := os.Stat(defaultFile); errors.Is(err, fs.ErrNotExist) {
			return c.defaults()
		}
		path = defaultFile
	}
	conf, err := config.Load(path, c.options())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage{err}
	}
	if err != nil {
		return nil, err
	}
	c.override(conf)
	return conf, nil
}

func (c *cli) override(conf *config.Config) {
	if c.data != "" {
		conf.Data = c.data
	}
	if c.listen != "" {
		conf.Listen = c.listen
	}
}

// webhookToken is the file, in the data directory, of the token that the webhook
// of a run without configuration asks for.
const webhookToken = "webhook.token"

// defaults is the configuration without a file. Its webhook's token is made once
// and kept beside the data.
func (c *cli) defaults() (*config.Config, error) {
	data := c.data
	if data == "" {
		data = "data"
	}
	path := filepath.Join(data, webhookToken)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte(strings.ToLower(randomText()) + "\n")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the webhook's token: %w", err)
	}
	conf, err := config.Default(c.options(), secret.Literal(strings.TrimSpace(string(b))))
	if err != nil {
		return nil, err
	}
	c.override(conf)
	return conf, nil
}
