/*
 * make_datasets.c - makes very many filesystems quickly: `make_datasets PREFIX COUNT` makes PREFIX1 to PREFIXcount,
 * many at a time, so that one transaction group takes many of them. Uses the library that zfs itself uses, which has no
 * headers here.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 64, NAME_SIZE = 256, FILESYSTEM = 2 };

/* libzfs_core.h: int lzc_create(const char *name, enum lzc_dataset_type type, nvlist_t *props, uint8_t *key, uint_t
 * size) */
static int (*create)(const char *name, int type, void *props, uint8_t *key, unsigned size);
static const char *prefix;
static int count;
static atomic_int next = 1, failures;

static void *work(void *unused)
{
    int i;

    (void)unused;
    while ((i = atomic_fetch_add(&next, 1)) <= count) {
        char name[NAME_SIZE];

        (void)snprintf(name, sizeof name, "%s%d", prefix, i);
        if (create(name, FILESYSTEM, NULL, NULL, 0) != 0)
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

int main(int argc, char *argv[])
{
    pthread_t threads[THREADS];
    void *library = dlopen("libzfs_core.so.3", RTLD_NOW);
    int (*init)(void);

    if (argc != 3 || library == NULL)
        return 2;
    prefix = argv[1];
    count = atoi(argv[2]);
    *(void **)&init = dlsym(library, "libzfs_core_init");
    *(void **)&create = dlsym(library, "lzc_create");
    if (init == NULL || create == NULL || init() != 0)
        return 2;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0)
            return 2;
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    return atomic_load(&failures) != 0;
}
