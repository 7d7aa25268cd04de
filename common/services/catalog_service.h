/* What is sold, as the rows have it now: an operator changes a price without a build. Thread-safe.
 */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "repositories/catalog_repository.h"

enum error catalog_service_packages(struct app *app, struct package_list *ret_list) MUST_CHECK;
enum error catalog_service_plans(struct app *app, struct plan_list *ret_list) MUST_CHECK;
