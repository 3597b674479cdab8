# The image: one static binary on nothing.
#
#   docker build -t mtuscope .                                 compiles here, for the builder's own architecture
#   buildah bud -f Dockerfile --build-arg BINARY=prebuilt DIR  takes DIR/mtuscope, which is already compiled

# Which stage hands over the binary: compiled or prebuilt. buildah 1.28 skips the stage that only this default names, so
# it has to be told: --build-arg BINARY=compiled.
ARG BINARY=compiled

FROM rust:1.95-alpine AS compiled
RUN apk add --no-cache libcap-utils
WORKDIR /source
COPY . .
ARG REVISION=unknown
# musl links statically. The cache mounts keep the registry and the dependencies between builds and are not part of the
# layer, so the binary has to be copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    target=$(uname -m)-unknown-linux-musl && \
    MTUSCOPE_REVISION="${REVISION}" cargo build --locked --release --target "$target" -p mtuscope && \
    install -m 0755 "target/$target/release/mtuscope" /mtuscope
# A container that is not root gets no capability from `capabilities.add`; only a file capability gives it one. `+p`
# and not `+ep`: the program raises what it was granted, and starts without what it was not, where `+ep` would forbid
# its very execution.
RUN setcap cap_net_raw,cap_net_admin+p /mtuscope

# There is no setcap in an empty stage: the binary in the build context already carries its file capabilities, and
# COPY keeps them.
FROM scratch AS prebuilt
COPY mtuscope /mtuscope

FROM ${BINARY} AS binary

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mtuscope" \
      org.opencontainers.image.description="Finds why packets of the size that pods send do not arrive." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=binary /mtuscope /mtuscope
# Numeric, so that runAsNonRoot can be checked without a user database.
USER 65532:65532
EXPOSE 9747/tcp
ENTRYPOINT ["/mtuscope"]
CMD ["agent"]
