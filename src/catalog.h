/*
 * catalog.h - floor 3: what the rest of the core asks a catalog beside moonpool.h.
 */
#ifndef CATALOG_H
#define CATALOG_H

#include "base.h"

/* What was wrong with the listing, one line; "" if nothing was. Valid as long as the catalog. */
const char *catalog_fault(const mp_catalog *catalog);

#endif
