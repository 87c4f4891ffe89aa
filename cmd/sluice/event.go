package main

import (
	"bytes"
	"fmt"

	"example.com/owner/sluice/internal/sqsevent"
)

// eventMessages returns how many messages a text has as the event of a Lambda function, 0 if it is
// none: then it may be a body.
func eventMessages(text []byte) int {
	if !bytes.Contains(text, []byte(`"messageId"`)) { // most bodies
		return 0
	}
	messages, err := sqsevent.Decode(text)
	if err != nil {
		return 0
	}
	return len(messages)
}

// isEvent says that a text is an event, and what runs it.
func isEvent(messages int, file string) string {
	return fmt.Sprintf("an event of a Lambda function, with %s; `sluice invoke -e %s` runs it", many(messages, "message"), fileArgument(file))
}

// fileArgument is a file as an argument of a command that reads it too.
func fileArgument(file string) string {
	if file == "" {
		return "-"
	}
	return file
}

// jqEvent is the command that makes an event of a file with one body per line.
const jqEvent = `jq -nR '{Records: [inputs | {messageId: "line-\(input_line_number)", eventSource: "aws:sqs", attributes: {SentTimestamp: "1769860800000"}, body: .}]}' `

// areBodies says what a file is that is no event: a body, or one body per line. It returns "" for
// anything else.
func areBodies(text []byte, file string) string {
	bodies := countBodies(text)
	file = fileArgument(file)
	switch bodies {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("if %s is one body, `sluice explain %[1]s` shows its row, and this makes an event of it:\n  jq -c . %[1]s | %[2]s> event.json", file, jqEvent)
	default:
		return fmt.Sprintf("%[1]s has one body per line, %[2]d in all; `sluice explain --summary %[1]s` tries them, and this makes an event of them:\n  %[3]s%[1]s > event.json", file, bodies, jqEvent)
	}
}

// countBodies counts the bodies of a text: 1 if it is JSON, otherwise its lines if most of them are (a
// sample may have a bad one), and 0 for anything else.
func countBodies(text []byte) (n int) {
	if isJSON(text) {
		return 1
	}
	valid := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		n++
		if isJSON(line) {
			valid++
		}
	}
	if 2*valid <= n {
		return 0
	}
	return n
}
