# The consumer as a container: `make build`, and docs/container.md. Everything used here is in the frontend that engines bring along,
# so no `syntax` line makes a build fetch another one.

# A patch of the Go of go.mod, which a test holds. A tag can be moved, a digest cannot: once a registry is at hand,
# `docker buildx imagetools inspect golang:1.26.8-trixie` prints the digest, and FROM takes it as golang:1.26.8-trixie@sha256:….
ARG GO_VERSION=1.26.8
ARG VERSION=dev

# The compiler runs on the builder's own platform, whatever it compiles for: no emulation.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-trixie AS build
WORKDIR /src
COPY . .
ARG TARGETOS TARGETARCH VERSION
# Modules are fetched here too: a layer of their own would be empty, since they live in the cache.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build-bin VERSION="$VERSION"

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/sluice /usr/local/bin/
# By number: there is no /etc/passwd, and Kubernetes checks runAsNonRoot by number only.
USER 65532:65532
# Not the flag, so that consume and health agree whatever arguments a container is given.
ENV SLUICE_METRICS_ADDR=:9464
EXPOSE 9464
# Well is who reaches the queue and the database, or did less than two minutes ago (docs/metrics.md).
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["/usr/local/bin/sluice", "health"]
ENTRYPOINT ["/usr/local/bin/sluice"]
# A container is a service: one that ended with the queue empty would be started again and again. `docker run … sluice consume` is the
# run that ends.
CMD ["consume", "--forever"]

ARG VERSION REVISION SOURCE
LABEL org.opencontainers.image.title="sluice" \
    org.opencontainers.image.description="Moves JSON messages from an SQS queue into a Postgres table: checked, masked, each exactly once" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
