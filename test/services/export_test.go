//go:build unix

package main

// Run is what main runs, and Exports what start prints for services of these URLs.
var Run = run

// Exports returns what start prints.
func Exports(queue, database string) string {
	return (&state{QueueURL: queue, DeadURL: queue + "-dead", DatabaseURL: database, Endpoint: "http://127.0.0.1:4566"}).exports()
}
