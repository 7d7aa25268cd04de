/* What is sold, as the rows have it now: an operator changes a price without a build. Thread-safe.
 */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "repositories/catalog_repository.h"

/*
 * All that are for sale, in the order of their price. ret_list: the caller's own, ended by
 * package_list_done or plan_list_done; untouched on an error. Errors are those of database_run.
 */
enum error catalog_service_packages(struct app *app, struct package_list *ret_list) MUST_CHECK;
enum error catalog_service_plans(struct app *app, struct plan_list *ret_list) MUST_CHECK;
