package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/consume/metrics"
	"example.com/owner/sluice/internal/fault"
)

type healthCmd struct {
	MetricsAddr string        `placeholder:"HOST:PORT" help:"Where the consumer serves its metrics; default: SLUICE_METRICS_ADDR."`
	Timeout     time.Duration `default:"3s" help:"Limit of the wait for an answer (${default})."`
	JSON        bool          `help:"Print JSON, also if it is not healthy or does not answer."`
}

// healthState is what the command found out.
type healthState struct {
	Healthy bool `json:"healthy"`
	// Says is what the consumer says of itself, or why it could not be asked.
	Says string `json:"says"`
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
	said, err := c.ask(ctx, address, setting)
	if c.JSON && !errors.Is(err, errStopped) {
		state := healthState{err == nil, said}
		if err != nil {
			state.Says, err = strings.TrimPrefix(err.Error(), unhealthy), errReported
		}
		return con.printJSON(state, err)
	}
	if err == nil {
		fmt.Fprintln(con.stdout, said)
	}
	return err
}

// unhealthy begins what a consumer says that is not healthy.
const unhealthy = "not healthy: "

// ask asks a consumer, and returns what it says if it is healthy.
func (c *healthCmd) ask(ctx context.Context, address, setting string) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	// Go takes the address that a server listens on: no host, and 0.0.0.0, are this machine.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return "", err
	}
	// This transport asks no proxy.
	answer, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	if err != nil {
		return "", c.noAnswer(ctx, address, setting, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return "", c.noAnswer(ctx, address, setting, err)
	}
	said = oneLine(strings.TrimSpace(string(text)))
	switch answer.StatusCode {
	case http.StatusOK:
		return said, nil
	case http.StatusServiceUnavailable:
		return "", errors.New(unhealthy + said)
	default:
		return "", fmt.Errorf("%s is not a consumer of sluice: /healthz answers with HTTP %d; check %s", address, answer.StatusCode, setting)
	}
}

// noAnswer says in plain words why a consumer did not answer.
func (c *healthCmd) noAnswer(ctx context.Context, address, setting string, err error) error {
	remedy := "; start `sluice consume --forever --metrics-addr " + address + "`, or check " + setting
	trouble := fault.Network(err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return errStopped
	case ctx.Err() != nil || trouble.Kind == fault.Timeout:
		return fmt.Errorf("no answer from %s within %v; the consumer hangs, or the network lets nothing through", address, c.Timeout)
	case trouble.Kind == fault.NoSuchHost, trouble.Kind == fault.Unresolved:
		return fmt.Errorf("the host of %s does not resolve; check %s", address, setting)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s%s", address, remedy)
	case trouble.Kind == fault.Refused:
		return fmt.Errorf("cannot connect to %s: %w; check %s, and that the network lets this machine through", address, trouble.Detail, setting)
	case trouble.Kind == fault.Broken:
		return fmt.Errorf("%s closed the connection without an answer; check %s, and whether the consumer is ending", address, setting)
	default:
		return fmt.Errorf("%s does not answer as a consumer of sluice does; check %s", address, setting)
	}
}
