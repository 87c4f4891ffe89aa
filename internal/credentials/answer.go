package credentials

import (
	"errors"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// NetworkCause returns the cause of a call that no service of AWS answered. AWS's host names exist,
// so a resolver that denies one is at fault itself and recovers, as does what ends a TLS handshake
// on the way: neither may end a consumer. A database's host is different: somebody typed its name.
func NetworkCause(t fault.Trouble) message.Cause {
	if t.Kind == fault.NoSuchHost || t.Kind == fault.Alert {
		return message.CauseTransient
	}
	return t.Cause()
}

// Answer returns what a service of AWS answered to a call: the code of its error, as ShownCode
// returns it, and the HTTP status. They are "" and 0 if it did not answer.
func Answer(err error) (code string, status int) {
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		code = ShownCode(answer.ErrorCode())
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	return code, status
}

// ShownCode returns a code that is fit to be shown: an answer may hold anything.
func ShownCode(code string) string {
	if !isWord(code) {
		return "an unknown error"
	}
	return code
}

func isWord(text string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	return text != "" && len(text) <= 80 && strings.Trim(text, letters) == ""
}
