package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/credentials"
)

// lambdaTimeout limits one attempt of a call.
const lambdaTimeout = 5 * time.Second

// lambdas lists the functions that read a queue. Its errors hold codes of AWS,
// and nothing of a function's configuration, which has secrets.
func lambdas(ctx context.Context, queueARN string) ([]check.Function, error) {
	where, err := arn.Parse(queueARN)
	if err != nil || !credentials.ValidRegion(where.Region) {
		return nil, errors.New("the queue's ARN is not valid")
	}
	cfg, err := loadAWS(ctx)
	if err != nil {
		return nil, errors.New("the AWS configuration cannot be read")
	}
	cfg.Region = where.Region
	pool, ok := cfg.HTTPClient.(*awshttp.BuildableClient) // it has the roots of AWS_CA_BUNDLE
	if !ok {
		pool = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = pool.WithTimeout(lambdaTimeout)
	api := lambda.NewFromConfig(cfg, func(o *lambda.Options) { o.RetryMaxAttempts = 2 })
	var all []check.Function
	pages := lambda.NewListEventSourceMappingsPaginator(api, &lambda.ListEventSourceMappingsInput{EventSourceArn: &queueARN})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, lambdaFailure(err)
		}
		for i := range page.EventSourceMappings {
			all = append(all, lambdaFunction(ctx, api, &page.EventSourceMappings[i]))
		}
	}
	return all, nil
}

func lambdaFunction(ctx context.Context, api *lambda.Client, m *types.EventSourceMappingConfiguration) check.Function {
	f := check.Function{
		Name: aws.ToString(m.FunctionArn), State: aws.ToString(m.State), Filter: lambdaFilter(ctx, api, m),
		ReportsFailures: slices.Contains(m.FunctionResponseTypes, types.FunctionResponseTypeReportBatchItemFailures),
		Window:          time.Duration(aws.ToInt32(m.MaximumBatchingWindowInSeconds)) * time.Second,
	}
	// The other checks do not need the timeout.
	if out, err := api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: m.FunctionArn}); err == nil {
		f.Timeout = time.Duration(aws.ToInt32(out.Timeout)) * time.Second
	}
	if _, name, ok := strings.Cut(f.Name, ":function:"); ok {
		f.Name = name
	}
	return f
}

// lambdaFilter reports whether a mapping has filter criteria. A list of mappings
// leaves out those that are encrypted with a customer managed key.
func lambdaFilter(ctx context.Context, api *lambda.Client, m *types.EventSourceMappingConfiguration) check.Filter {
	criteria := m.FilterCriteria
	if criteria == nil && m.KMSKeyArn != nil {
		out, err := api.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: m.UUID})
		if err != nil || out.FilterCriteriaError != nil {
			return check.FilterUnread
		}
		criteria = out.FilterCriteria
	}
	if criteria == nil || len(criteria.Filters) == 0 {
		return check.NoFilter
	}
	return check.Filtered
}

func lambdaFailure(err error) error {
	if refused, ok := errors.AsType[smithy.APIError](err); ok && len(refused.ErrorCode()) < 80 {
		return errors.New("Lambda answers " + refused.ErrorCode())
	}
	return errors.New("the Lambda API is not reachable")
}
