package sqs

import "time"

// WithTimeout is the same client with another timeout for each attempt of a
// call; a long poll has its wait on top.
func (c *Client) WithTimeout(d time.Duration) *Client {
	return &Client{api: c.api, transport: c.transport, timeout: d}
}

// BackoffTo is for the queue of a URL.
func (c *Client) BackoffTo(queueURL string) *Backoff { return c.backoff(queueURL) }
