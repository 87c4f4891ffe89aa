// Command hello is the smallest Lambda function: what a cold start costs with
// nothing of sluice in it.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	lambda.Start(func(context.Context) (string, error) { return "hello", nil })
}
