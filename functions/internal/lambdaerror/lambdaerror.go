// Package lambdaerror gives the errors of the Lambda functions the names that
// operators search for. Lambda's runtime would show the name of the Go type.
package lambdaerror

import (
	"github.com/aws/aws-lambda-go/lambda/messages"

	"sluice/internal/app"
)

// Of returns err with its errorType, in the form that aws-lambda-go sends as it is.
func Of(err error) error {
	if err == nil {
		return nil
	}
	return messages.InvokeResponse_Error{Message: err.Error(), Type: app.ErrorType(err)}
}
