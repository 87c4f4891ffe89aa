package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/internal/config"
	"sluice/internal/consume/metrics"
)

type healthCmd struct {
	MetricsAddr string        `placeholder:"HOST:PORT" help:"Where the consumer serves its metrics (SLUICE_METRICS_ADDR)."`
	Timeout     time.Duration `default:"3s" help:"How long to wait for the answer (${default})."`
}

// Help says more than one line.
func (healthCmd) Help() string {
	return `Asks /healthz of a consumer that serves it, and exits with 0 if it is well, with 1 if it is not or does not answer. The
container image has it as its health check; the variable is set there, so that both commands agree on the address.

  sluice health --metrics-addr 127.0.0.1:9464`
}

// Run implements the command.
func (c *healthCmd) Run(ctx context.Context, con *console) error {
	// What is wrong with the rest of the configuration is the consumer's to say.
	parts, _ := con.load()
	address, setting := metricsAddress(c.MetricsAddr, parts.Config)
	if address == "" {
		if problems := config.Unknown(con.environ); problems != nil {
			return &config.ConfigError{Problems: problems}
		}
		return errors.New("nothing says where the consumer serves its health; set SLUICE_METRICS_ADDR for both, or give --metrics-addr")
	}
	if err := metrics.CheckAddress(address); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	// An address to listen on is one to call: without a host, or with 0.0.0.0, Go calls this machine.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	// A transport of its own asks no proxy.
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
		return fmt.Errorf("not well: %s: %s", answer.Status, said)
	}
	fmt.Fprintln(con.stdout, said)
	return nil
}
