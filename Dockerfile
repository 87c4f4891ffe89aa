# The consumer as a container: `make build`, and docs/container.md. The engines' own frontend has
# everything used here, so there is no `syntax` line that makes a build fetch another one.

# A patch release of go.mod's Go, which a test checks. A tag can be moved, a digest cannot: with a
# registry at hand, `docker buildx imagetools inspect golang:1.26.8-trixie` prints the digest, and FROM
# takes it as golang:1.26.8-trixie@sha256:….
ARG GO_VERSION=1.26.8
ARG VERSION=dev

# The compiler runs on the builder's own platform, whatever it compiles for, without emulation.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-trixie AS build
WORKDIR /src
COPY . .
ARG TARGETOS TARGETARCH VERSION
# This fetches the modules too: a separate layer for them would be empty, because they are in the cache.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build-bin VERSION="$VERSION"

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/sluice /usr/local/bin/
# By number: there is no /etc/passwd, and Kubernetes checks runAsNonRoot by number only.
USER 65532:65532
# Not a flag, so that consume and health agree whatever arguments a container gets.
ENV SLUICE_METRICS_ADDR=:9464
EXPOSE 9464
# Healthy: it reaches the queue and the database, or did so less than two minutes ago (docs/metrics.md).
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["/usr/local/bin/sluice", "health"]
ENTRYPOINT ["/usr/local/bin/sluice"]
# A container is a service: if it ended with the queue empty, it would be started again and again.
# `docker run … sluice consume` is the run that ends.
CMD ["consume", "--forever"]

ARG VERSION REVISION SOURCE
LABEL org.opencontainers.image.title="sluice" \
    org.opencontainers.image.description="Moves JSON messages from an SQS queue into a Postgres table: checked, masked, each exactly once" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
