// Command sluice runs the code of the Lambda function outside Lambda, and has
// the tools to inspect, check and repair an installation.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"example.com/owner/sluice/internal/config"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// The first signal ends ctx. A second one has its default action: it ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], config.Environ(), os.Stdin, os.Stdout, os.Stderr)) //nolint:gocritic // stop only undoes the signals
}

// cli has the commands; each has its own file.
type cli struct {
	Consume consumeCmd `cmd:"" help:"Move messages from the queue into the database, until the queue is empty or forever."`
	Health  healthCmd  `cmd:"" help:"Ask a running consumer whether it is healthy: the health check of the container image, which has no shell."`
	Demo    demoCmd    `cmd:"" help:"See it work, without any setup: a temporary Postgres, a batch of valid and invalid messages, and what became of them."`
	Invoke  invokeCmd  `cmd:"" help:"Run the Lambda handler on an event file, and print its answer."`
	Infer   inferCmd   `cmd:"" help:"Draft a model from a sample of bodies, and from a table that exists."`
	Explain explainCmd `cmd:"" help:"Show the row that a body would become, masked, or why the body would be rejected."`
	Schema  schemaCmd  `cmd:"" help:"Print the SQL that creates the model's tables."`
	Migrate migrateCmd `cmd:"" help:"Create the model's tables where they are missing. Existing tables are not changed."`
	Check   checkCmd   `cmd:"" help:"Find what would lose or delay messages: configuration, table, grants, queues, function."`
	Send    sendCmd    `cmd:"" help:"Send bodies to the queue, one per line."`
	Peek    peekCmd    `cmd:"" help:"Show what is in the dead-letter queue and why, masked. Every message is returned to it."`
	Redrive redriveCmd `cmd:"" help:"Send messages from the dead-letter queue back to the queue that they came from."`
	Mask    maskCmd    `cmd:"" help:"Print the mask of the value on standard input, under every key: to find a person's rows."`
	Version versionCmd `cmd:"" help:"Print the version."`
	Help    helpCmd    `cmd:"" help:"Print the help of a command."`

	Completion kongcompletion.Completion `cmd:"" help:"Print what makes bash, zsh or fish complete the commands and flags of sluice."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

//nolint:gosec // an example of a URL, no password
const description = `sluice moves messages from an SQS queue into a Postgres table: checked, masked, each exactly once.

Environment variables configure it. The most important ones:
  DATABASE_URL      postgres://user:password@host:5432/database
  SLUICE_MASK_KEYS  k1:<at least 32 characters>; the keys that mask personal fields
  SLUICE_MODEL      user_logins (default), the name of another model, or the path of a model file

Start with: sluice demo`

// console is a command's surroundings.
type console struct {
	environ map[string]string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// Exit codes, as Unix expects.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is main with everything that it touches as a parameter.
func run(ctx context.Context, args []string, environ map[string]string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	con := &console{environ: environ, stdin: stdin, stdout: out, stderr: stderr}
	if terminal(stdout) {
		con.stdout = stdout // the table library asks whether it is one; and lost output is seen
	}
	exited := -1
	parser, err := kong.New(&cli{},
		kong.Name("sluice"), kong.Description(description),
		kong.Vars{"version": thisVersion().String()},
		kong.Writers(con.stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(con),
	)
	if err != nil {
		fmt.Fprintf(stderr, "sluice: %v\n", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if completes(parser, environ) {
		return con.end(nil, out)
	}
	command, err := parser.Parse(args)
	switch {
	case exited >= 0, out.err != nil: // --help and --version; nothing else prints before a command runs
		return con.end(nil, out)
	case err != nil:
		fmt.Fprintf(stderr, "sluice: %s\n", usageProblem(err, args))
		return exitUsage
	}
	return con.end(command.Run(), out)
}

// end prints why a command failed, unless the command has done so, and returns
// the exit code. A command whose output is lost has failed.
func (con *console) end(err error, out *output) int {
	if out.err != nil && (err == nil || errors.Is(err, errReported) || errors.Is(err, out.err)) {
		err = fmt.Errorf("write the output: %w", out.err)
	}
	switch {
	case err == nil:
		return exitDone
	case !errors.Is(err, errReported):
		fmt.Fprintf(con.stderr, "sluice: %v\n", err)
	}
	if _, wrongly := errors.AsType[usageError](err); wrongly {
		return exitUsage
	}
	return exitFailed
}

// errReported fails a command that has printed why.
var errReported = errors.New("reported")

// log returns the logger that the environment asks for, on standard error.
func (con *console) log() *slog.Logger {
	return slog.New(slog.NewJSONHandler(con.stderr, &slog.HandlerOptions{Level: config.LogLevel(con.environ)}))
}
