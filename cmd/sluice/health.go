package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/consume/metrics"
)

type healthCmd struct {
	MetricsAddr string        `placeholder:"HOST:PORT" help:"Where the consumer serves its metrics; default: SLUICE_METRICS_ADDR."`
	Timeout     time.Duration `default:"3s" help:"Limit of the wait for an answer (${default})."`
}

// Help returns the details.
func (healthCmd) Help() string {
	return `Asks /healthz of a consumer. The exit code is 0 if it is healthy, and 1 if it is not or does not answer. It is the health
check of the container image, which sets the variable for both commands.

  sluice health --metrics-addr 127.0.0.1:9464`
}

// Run implements the command.
func (c *healthCmd) Run(ctx context.Context, con *console) error {
	// The consumer itself reports what is wrong with the rest of the configuration.
	parts, _ := con.load()
	address, setting := metricsAddress(c.MetricsAddr, parts.Config)
	if address == "" {
		if problems := config.Unknown(con.environ); problems != nil {
			return &config.ConfigError{Problems: problems}
		}
		return errors.New("the address of the consumer is not set; set SLUICE_METRICS_ADDR for both commands, or give --metrics-addr")
	}
	if err := metrics.CheckAddress(address); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	// Go takes the address that a server listens on: no host, and 0.0.0.0, are this machine.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	// This transport asks no proxy.
	answer, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return err
	}
	said := strings.TrimSpace(string(text))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s: %s", answer.Status, said)
	}
	fmt.Fprintln(con.stdout, said)
	return nil
}
