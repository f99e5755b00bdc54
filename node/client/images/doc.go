// Package images turns container images into directory trees: on a disk, or
// straight in a server's content-addressable storage.
//
// Images come from `docker save` archives, OCI layouts, registries and the local
// Docker daemon. The layers are first read into a model of the final tree, in
// memory and by names only; then what is left of them is laid out or uploaded.
// Nothing that an image says reaches the file system before all of it was checked.
//
// DESIGN.md has the decisions.
package images
