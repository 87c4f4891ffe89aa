// Command withpg runs a command beside a temporary Postgres of its own, with
// the server's URL in DATABASE_URL, and ends with the command's exit code:
//
//	go run ./test/withpg bin/sluice migrate
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"example.com/owner/sluice/internal/testing/localpg"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpg:", err)
	}
	os.Exit(code)
}

func run(command []string) (code int, err error) {
	if len(command) == 0 {
		return 2, errors.New("no command; usage: withpg COMMAND [ARGUMENT …]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server, err := localpg.Start(ctx, localpg.Config{Version: os.Getenv("TEST_POSTGRES_VERSION"), Log: os.Stderr})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // that is its purpose
	cmd.Env = append(os.Environ(), "DATABASE_URL="+server.URL())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
