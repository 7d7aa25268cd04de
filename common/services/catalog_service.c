#include "services/catalog_service.h"

enum error catalog_service_packages(struct app *app, struct package_list *ret_list)
{
    return catalog_repository_packages(app->database, ret_list);
}

enum error catalog_service_plans(struct app *app, struct plan_list *ret_list)
{
    return catalog_repository_plans(app->database, ret_list);
}
