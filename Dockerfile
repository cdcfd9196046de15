# The service with what it needs to run, as the user `node` (uid 1000). Its state is in the volume /data, and nothing else
# is written: the root may be read-only, and the uid another one if /data is writable for it.
FROM node:26-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: better-sqlite3 brings its binaries, but npm would compile it. The optional packages are Node itself.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund
# What does not run here: C sources and binaries of other systems, declarations of types, source maps.
RUN cd node_modules \
 && rm -r better-sqlite3/deps better-sqlite3/src \
 && find better-sqlite3/prebuilds -type f ! -name "linux-$(node -p process.arch).node" -delete \
 && find . -type f \( -name '*.ts' -o -name '*.[cm]ts' -o -name '*.map' \) -delete

FROM node:26-slim
LABEL org.opencontainers.image.title="Holdover" \
      org.opencontainers.image.description="Simulated Linux hosts whose IOMMU state survives a live update, as an HTTP/JSON service" \
      org.opencontainers.image.licenses="Apache-2.0"
# The last ones are what src/entry/main.cjs else begins anew for.
ENV NODE_ENV=production \
    HOLDOVER_HOST=0.0.0.0 \
    HOLDOVER_PORT=8080 \
    HOLDOVER_DATA_DIR=/data \
    MALLOC_MMAP_THRESHOLD_=131072 \
    MALLOC_TRIM_THRESHOLD_=2097152 \
    MALLOC_TOP_PAD_=262144
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY package.json LICENSE README.md ./
COPY migrations ./migrations
COPY openapi ./openapi
COPY src ./src
RUN install --directory --owner=node --group=node /data
VOLUME /data
USER node
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.HOLDOVER_PORT + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "src/main.ts"]
