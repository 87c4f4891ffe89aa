// Command usual is the function of package usual, built for Lambda. HANDLER is batch or each.
package main

import (
	"context"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/testing/benchmark/usual"
)

func main() {
	conn, err := pgx.Connect(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	f := usual.Function{Conn: conn}
	if os.Getenv("HANDLER") == "each" {
		lambda.Start(f.Each)
	}
	lambda.Start(f.Batch)
}
